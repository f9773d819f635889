from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0005_modelversion_lost'),
    ]

    operations = [
        migrations.AddField(
            model_name='model',
            name='executed',
            field=models.JSONField(blank=True, null=True),
        ),
    ]
